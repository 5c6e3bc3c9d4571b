"""What everything rests on: errors, progress, devices, random numbers."""
