"""Export of detectors to formats that other runtimes read."""
