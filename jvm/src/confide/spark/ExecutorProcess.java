package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.AgentClient;
import org.apache.spark.executor.CoarseGrainedExecutorBackend;

/**
 * The JVM of a confined Spark executor: Spark's own, given its secrets and hardened settings by the agent's socket.
 *
 * <p>What the driver sends later as its configuration is compared with these settings before a key is used.
 */
public final class ExecutorProcess {
  private ExecutorProcess() {}

  /**
   * @param args those of Spark's executor; they hold no secret.
   */
  public static void main(String[] args) throws Exception {
    JsonNode secret = AgentClient.fromEnvironment().secret("executor");
    Hardening.installExecutor(secret);
    CoarseGrainedExecutorBackend.main(args);
  }
}
