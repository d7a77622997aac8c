"""What is asked of a recorded run, and the gate that every question goes through."""
