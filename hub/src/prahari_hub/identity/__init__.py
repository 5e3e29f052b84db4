"""Who a device is: the certificate authority, one-time claims, enrolment, renewal, revocation, the hub's signing keys."""
