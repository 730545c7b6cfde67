"""Google Cloud Storage: the driver, and the parts it is made of."""
