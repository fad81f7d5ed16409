package confide;

/**
 * Where a path lies.
 *
 * @param kind which rule applies
 * @param grant the grant of the location; null unless {@code kind} is GRANTED
 * @param path relative to the location ("" is the location itself); "" unless GRANTED
 */
record Place(Kind kind, Grant grant, String path) {
  enum Kind {
    /** Private to the enclave: anything goes. */
    SCRATCH,
    /** The measured program and libraries: to read. */
    PROGRAM,
    /** A folder above a granted location: it exists, and that is all to know. */
    ABOVE,
    /** In a granted location. */
    GRANTED,
  }
}
