package confide;

/** What policies grant of streams, for who must know before a job runs. */
public final class StreamGrant {
  private StreamGrant() {}

  /**
   * Returns if a stream is granted.
   *
   * @param location of the stream, as the policy grants it
   * @param write whether records are made, and not only opened
   * @throws ConfideException {@code NoGrant}
   */
  public static void require(String location, boolean write) throws ConfideException {
    Grant grant = Guard.get().stream(location);
    if (write) {
      grant.requireWrite();
    }
  }
}
