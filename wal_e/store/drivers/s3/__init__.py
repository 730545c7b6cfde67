"""Amazon S3 and what works alike: the driver, and the parts it is made of."""
