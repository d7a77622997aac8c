"""Questions about a recorded run, and the gate that each goes through."""
