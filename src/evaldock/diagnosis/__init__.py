"""What `evaldock doctor` looks at, one small module per subject."""
