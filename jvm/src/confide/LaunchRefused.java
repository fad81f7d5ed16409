package confide;

/** A setting of an engine that would weaken the protection of the data; the message begins with the setting's name. */
public final class LaunchRefused extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public LaunchRefused(String message) {
    super(message);
  }

  /** Without the package: this text is what the program's author reads. */
  @Override
  public String toString() {
    return "LaunchRefused: " + getMessage();
  }
}
