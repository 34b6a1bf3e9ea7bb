"""The order of the steps, and the places where they run."""
