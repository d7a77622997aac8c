"""Parameters of the form ``module__x``, kept where scikit-learn allows them."""

from typing import Any, ClassVar

from skorch.net import NeuralNet
from skorch.utils import params_for

_FOR_THE_NEXT_FIT = ("iterator_train", "iterator_valid", "dataset")


class KeywordParametersMixin(NeuralNet):
    """Keeps the parameters that ``__init__`` takes as ``**kwargs``.

    scikit-learn allows ``__init__`` to set no attribute but its named parameters;
    skorch looks for ``module__x`` and the like among the attributes. They have a
    mapping of their own here, outside ``vars(self)``, and are read like attributes.
    """

    __slots__ = ("_keywords",)
    _keywords: dict[str, Any]

    # What skorch's `__init__` would set besides the parameters.
    history_: Any = None
    initialized_: bool = False
    virtual_params_: ClassVar[dict[str, Any]] = {}

    def _set_init_params(self, arguments: dict[str, Any]) -> None:
        """Set the parameters from the ``locals()`` of ``__init__``."""
        self._keywords = dict(arguments["kwargs"])
        left_out = ("self", "kwargs", "__class__")
        self.__dict__.update({k: v for k, v in arguments.items() if k not in left_out})

    @property
    def _params_to_validate(self) -> set[str]:
        """The names that skorch checks for known prefixes."""
        return set(self._keywords)

    def __getattr__(self, name: str) -> Any:
        if name != "_keywords" and name in self._keywords:
            return self._keywords[name]
        # Fails again, with the message of the property that failed if it was one.
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_keywords":
            object.__setattr__(self, name, value)
        elif name in ("module", "criterion"):
            # An instance given as a *parameter* is not one of skorch's trained
            # components, whose names end with an underscore.
            self.__dict__[name] = value
        elif name in self._keywords or _is_keyword(name):
            self._keywords[name] = value
        else:
            super().__setattr__(name, value)

    def _get_param_names(self) -> list[str]:
        return [*super()._get_param_names(), *self._keywords]

    def _get_params_for(self, prefix: str) -> dict[str, Any]:
        return dict(params_for(prefix, {**self.__dict__, **self._keywords}))

    def set_params(self, **params: Any) -> Any:
        """Set parameters, ``module__x`` and ``optimizer__x`` included.

        Parameters
        ----------
        **params : dict
            Parameters by name.

        Returns
        -------
        self : object
            The estimator.
        """
        if "callbacks" in params and not self.initialized_:
            # skorch would initialize them at once; what they are is checked in fit.
            self.callbacks = params.pop("callbacks")
        # skorch fails to give these to a net in use: they are for the next fit.
        for name in list(params):
            if name == "optimizer" or name.startswith(_FOR_THE_NEXT_FIT):
                setattr(self, name, params.pop(name))
        super().set_params(**params)
        # skorch hands these to the optimizer in use, and forgets them before a refit.
        kept = {k: v for k, v in params.items() if k.startswith("optimizer__")}
        self._keywords.update(kept)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_keywords": self._keywords}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._keywords = state.pop("_keywords")
        super().__setstate__(state)


def _is_keyword(name: str) -> bool:
    return "__" in name.strip("_") and not name.startswith("_")
