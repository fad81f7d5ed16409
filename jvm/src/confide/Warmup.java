package confide;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.security.GeneralSecurityException;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Makes AES-GCM fast before the first data arrive.
 *
 * <p>Java runs it at some 50 MB/s until the just-in-time compiler has seen enough calls, then at gigabytes a
 * second. Half a second of small calls on a daemon thread gets there while the engine is still starting.
 */
final class Warmup {
  private static final long CPU_NANOS = 500_000_000L;

  private Warmup() {}

  /** Starts the loop and returns at once. {@code -Dconfide.warmup=false} leaves it out. */
  static void start() {
    if (Boolean.parseBoolean(System.getProperty("confide.warmup", "true"))) {
      Thread thread = new Thread(Warmup::run, "confide-warmup");
      thread.setDaemon(true);
      thread.setPriority(Thread.MIN_PRIORITY);
      thread.start();
    }
  }

  private static void run() {
    ThreadMXBean clock = ManagementFactory.getThreadMXBean();
    byte[] page = new byte[8 * 1024];
    SecretKeySpec key = new SecretKeySpec(new byte[32], "AES");
    byte[] nonce = new byte[12];
    try {
      Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
      while (clock.getCurrentThreadCpuTime() < CPU_NANOS) {
        nonce[0]++; // Java refuses one nonce twice in a row; this key protects nothing
        cipher.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(128, nonce));
        byte[] sealed = cipher.doFinal(page);
        cipher.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, nonce));
        cipher.doFinal(sealed);
      }
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM warm-up failed", e);
    }
  }
}
