package confide;

/**
 * Whether keys may be used in this JVM: only once the engine in it has shown its hardened settings.
 *
 * <p>The engine's own part says so; before it does, nobody does.
 */
public final class KeyUse {
  /** What an engine's part says. */
  public interface Rule {
    /** Returns if the engine runs with its hardened settings; throws otherwise. */
    void check();

    /** Whether what lies at a location is committed by another JVM, so that it may change during the run. */
    default boolean committedElsewhere() {
      return false;
    }

    /**
     * How old the answer may be by which a location has no listing, where that can change: most such locations never get
     * one, and each file that is opened there would be a release of its own.
     */
    default long firstCommitsNs() {
      return 0;
    }
  }

  private static final Rule NOBODY =
      () -> {
        throw new IllegalStateException("keys are used only by an engine that confide started");
      };

  private static volatile Rule rule = NOBODY;

  private KeyUse() {}

  /** Takes the engine's rule, when the engine's part is loaded: one, for the life of the JVM. */
  public static synchronized void allowedBy(Rule engine) {
    if (rule != NOBODY) {
      throw new IllegalStateException("another engine's rule is in place");
    }
    rule = engine;
  }

  static void check() {
    rule.check();
  }

  static boolean committedElsewhere() {
    return rule.committedElsewhere();
  }

  static long firstCommitsNs() {
    return rule.firstCommitsNs();
  }
}
