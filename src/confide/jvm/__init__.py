"""What engines on a Java virtual machine share: our jar, the gateway between Python and Java, its secrets."""
