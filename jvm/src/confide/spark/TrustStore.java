package confide.spark;

import confide.LaunchRefused;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.Collections;
import java.util.List;

/** The trust store of Spark's TLS, which without one trusts everybody. */
final class TrustStore {
  static final String FILE = "spark.ssl.rpc.trustStore";
  static final String PASSWORD = "spark.ssl.rpc.trustStorePassword";

  private TrustStore() {}

  /**
   * Returns if the file names exactly one authority, and so whom Spark will trust.
   *
   * @throws LaunchRefused when it is missing, does not open, or holds anything else.
   */
  static void require(String file, String password) {
    if (file == null || password == null) {
      throw refused("is not set");
    }
    try (InputStream in = Files.newInputStream(Path.of(file))) {
      KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType()); // the type that Spark opens it as
      store.load(in, password.toCharArray());
      List<String> names = Collections.list(store.aliases());
      if (names.size() != 1 || !store.isCertificateEntry(names.get(0))) {
        throw refused("does not hold exactly the certificate of the job's authority");
      }
    } catch (IOException | GeneralSecurityException e) {
      throw refused("is missing, or does not open");
    }
  }

  private static LaunchRefused refused(String why) {
    return new LaunchRefused(FILE + " " + why + ": strangers to the job would be trusted");
  }
}
