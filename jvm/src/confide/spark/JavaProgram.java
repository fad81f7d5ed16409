package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.AgentClient;
import confide.ConfideException;
import confide.LaunchRefused;
import java.lang.reflect.InvocationTargetException;
import java.util.Arrays;

/**
 * The JVM of a confined driver whose program is a class of a jar: what {@code spark-submit --class} does, with secrets
 * and hardened settings from the agent's socket.
 */
public final class JavaProgram {
  private JavaProgram() {}

  /**
   * @param args name of the class, then the program's arguments.
   */
  public static void main(String[] args) throws Exception {
    JsonNode secret = AgentClient.fromEnvironment().secret("gateway");
    Hardening.install(secret);
    int code = 0;
    try {
      Class.forName(args[0])
          .getMethod("main", String[].class)
          .invoke(null, (Object) Arrays.copyOfRange(args, 1, args.length));
    } catch (InvocationTargetException e) {
      e.getCause().printStackTrace();
      explain(e.getCause());
      code = 1;
    } catch (ClassNotFoundException | NoSuchMethodException | NoClassDefFoundError e) {
      System.err.println("confide: LaunchRefused: no class " + args[0] + " with a method main in the program's jars");
      code = 1;
    }
    if (code != 0) {
      System.exit(code);
    }
    // Else, as with spark-submit, the JVM ends with the program's last thread, and Spark's own hook stops the context.
  }

  /** Which rule said no, as one line at the end. */
  private static void explain(Throwable error) {
    Throwable ours = null;
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      ours = cause instanceof ConfideException || cause instanceof LaunchRefused ? cause : ours;
    }
    if (ours != null) {
      System.err.println("confide: " + (ours instanceof LaunchRefused ? ours : ours.getMessage()));
    }
  }
}
