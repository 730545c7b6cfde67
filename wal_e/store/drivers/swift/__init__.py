"""OpenStack Swift: the driver, and the parts it is made of."""
