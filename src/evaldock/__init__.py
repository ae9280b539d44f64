"""The host side: compiles a document into a plan and carries it out."""
