"""What runs inside every evaldock image."""
