"""Reads the definition that a vendor's wheel carries (core_evals/PKG/framework.yml) as one of ours."""
