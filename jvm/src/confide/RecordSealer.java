package confide;

import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;

/** Seals the records of one producer, one after the other, under a data key of its own. */
public final class RecordSealer {
  private static final SecureRandom RANDOM = new SecureRandom();

  private final byte[] producer;
  private final byte[] start;
  private final SecretKeySpec key;
  private final String dataKey;
  private final Cipher cipher = SealedRecord.cipher();
  private long number;

  /**
   * @param location of the stream, as the policy grants it for writing
   * @param producer random id of 16 bytes
   * @param number of the producer's record that was sealed last; 0: none was
   */
  public RecordSealer(String location, byte[] producer, long number) throws ConfideException {
    Guard guard = Guard.get();
    Grant grant = guard.stream(location);
    grant.requireWrite();
    guard.keys();
    guard.renewKeys();
    byte[] secret = new byte[SealedRecord.KEY_BYTES];
    RANDOM.nextBytes(secret);
    String version = guard.keys().current(grant.key);
    byte[] wrapped = guard.keys().wrap(version, secret, SealedRecord.context(version, grant.name(), producer));
    this.key = new SecretKeySpec(secret, "AES");
    this.producer = producer.clone();
    this.start = SealedRecord.start(version, producer, wrapped);
    this.dataKey = Digests.hex(wrapped).substring(0, 16);
    this.number = number;
    Arrays.fill(secret, (byte) 0);
  }

  /** A new producer's id. */
  public static byte[] newProducer() {
    byte[] producer = new byte[SealedRecord.PRODUCER_BYTES];
    RANDOM.nextBytes(producer);
    return producer;
  }

  /** Seals the next record. */
  public byte[] seal(byte[] plain) throws ConfideException {
    if (plain.length > SealedRecord.MAX_PLAIN_BYTES) {
      throw new ConfideException("Misuse",
          "a record has at most " + SealedRecord.MAX_PLAIN_BYTES + " bytes, not " + plain.length);
    }
    number++;
    byte[] header = ByteBuffer.allocate(start.length + Long.BYTES).put(start).putLong(number).array();
    try {
      SealedRecord.init(cipher, Cipher.ENCRYPT_MODE, key, number, header, header.length);
      byte[] record = Arrays.copyOf(header, header.length + cipher.getOutputSize(plain.length));
      cipher.doFinal(plain, 0, plain.length, record, header.length);
      return record;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM failed to encrypt", e);
    }
  }

  public byte[] producer() {
    return producer.clone();
  }

  /** Number of the record that was sealed last. */
  public long number() {
    return number;
  }

  /** Id of the data key, by which a stream tells a repeated record from another of the same number. */
  public String dataKey() {
    return dataKey;
  }
}
