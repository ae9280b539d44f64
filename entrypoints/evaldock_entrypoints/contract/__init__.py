"""The contract both sides share: document, catalogue entries, results, exit codes."""
