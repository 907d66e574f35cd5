"""ZenML runs on Valet Key: the service connector type `valetkey`."""
