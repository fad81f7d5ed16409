package confide;

import java.io.IOException;

/**
 * A failure that confide reports on purpose.
 *
 * <p>An IOException, because that is what engines let pass through their file system and reader layers
 * unchanged. The message starts with the class of {@code confide.errors} it stands for ("FileMissing: ..."),
 * so that whoever reads the engine's error can name the rule that said no.
 */
public class ConfideException extends IOException {
  private final String kind;

  public ConfideException(String kind, String message) {
    super(kind + ": " + message);
    this.kind = kind;
  }

  public ConfideException(String kind, String message, Throwable cause) {
    super(kind + ": " + message, cause);
    this.kind = kind;
  }

  /** The class of {@code confide.errors}. */
  public String kind() {
    return kind;
  }

  /** Throws through a signature that declares nothing (Scala methods declare no exceptions). */
  @SuppressWarnings("unchecked")
  public static <E extends Throwable> RuntimeException sneak(Throwable error) throws E {
    throw (E) error;
  }
}
