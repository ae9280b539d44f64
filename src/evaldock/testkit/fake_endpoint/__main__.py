"""Lets `python -m evaldock.testkit.fake_endpoint` start the endpoint."""

from evaldock.testkit.fake_endpoint.cli import main

main()
