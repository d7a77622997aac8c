"""The devices that torch has."""

import torch


def check_device(device: object) -> None:
    """Refuse a device that torch does not have here.

    Parameters
    ----------
    device : object
        What was given.

    Raises
    ------
    ValueError
        If it is no device, or one without memory to compute in.
    """
    reason = "it is neither a string nor a torch.device"
    if isinstance(device, (str, torch.device)):
        try:
            if torch.empty(0, device=device).device.type != "meta":
                return
            reason = "it holds no values"
        except (RuntimeError, AssertionError, IndexError) as error:
            reason = str(error).splitlines()[0]
    raise ValueError(
        "`device` must be one that torch has here, such as 'cpu'"
        f"{_gpu()}, got {device!r}: {reason}"
    )


def own_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device's own memory; None if it uses the host's."""
    count = getattr(torch.get_device_module(device), "mem_get_info", None)
    return None if count is None else count(device)[0]


def _gpu() -> str:
    return " or 'cuda'" if torch.cuda.is_available() else ""
