"""One task of one harness: command, run, parse, prove, write."""
