package confide;

import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;

/**
 * Opens the records of one stream in the order in which they come, and refuses any other order; or each alone, where
 * records have no order.
 *
 * <p>The steps are those of docs/formats/sealed-record.md.
 */
public final class RecordOpener {
  private static final int MAX_PRODUCERS = 1_000_000;
  /** Producers whose data keys are kept unwrapped. */
  private static final int MAX_OPEN = 10_000;

  /**
   * A record that is authentic, and of the stream.
   *
   * @param producer who made it (hex)
   * @param number its place among what that producer made, from 1
   * @param row what it holds
   */
  public record Opened(String producer, long number, byte[] row) {}

  private record Open(byte[] start, SecretKeySpec key) {}

  private final Guard guard;
  private final Grant grant;
  private final Map<String, Long> last;
  private final boolean whole;
  private final Map<String, Open> open = new HashMap<>();
  private final Cipher cipher = SealedRecord.cipher();

  /**
   * @param location of the stream, as the policy grants it
   * @param last producer (hex) -> number of its record that was opened last; is kept up to date
   * @param whole whether a producer that is not in {@code last} begins with its first record
   */
  public RecordOpener(String location, Map<String, Long> last, boolean whole) throws ConfideException {
    this.guard = Guard.get();
    this.grant = guard.stream(location);
    this.last = last;
    this.whole = whole;
  }

  /** Opens each record alone: that none was repeated or left out is for others to see. */
  public RecordOpener(String location) throws ConfideException {
    this(location, Map.of(), false);
  }

  /** Returns what a record holds, and takes it as opened. */
  public byte[] open(byte[] bytes) throws ConfideException {
    Opened opened = openAlone(bytes);
    advance(opened.producer, opened.number);
    return opened.row;
  }

  /** Opens a record wherever it stands. */
  public Opened openAlone(byte[] bytes) throws ConfideException {
    SealedRecord record = SealedRecord.parse(bytes);
    String producer = HexFormat.of().formatHex(record.producer());
    byte[] plain;
    try {
      int header = record.headerBytes();
      SealedRecord.init(cipher, Cipher.DECRYPT_MODE, key(record, producer), record.number(), bytes, header);
      plain = cipher.doFinal(bytes, header, bytes.length - header);
    } catch (AEADBadTagException e) {
      throw new ConfideException("Tampered", "sealed record does not authenticate");
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM failed to decrypt", e);
    }
    return new Opened(producer, record.number(), plain);
  }

  private SecretKeySpec key(SealedRecord record, String producer) throws ConfideException {
    Open known = open.get(producer);
    if (known != null && Arrays.equals(known.start, record.start())) {
      return known.key;
    }
    if (!record.key().startsWith(grant.key + ":")) {
      throw new ConfideException("UnknownKey",
          "a sealed record under " + record.key() + ", in a stream under " + grant.key);
    }
    byte[] context = SealedRecord.context(record.key(), grant.name(), record.producer());
    byte[] secret;
    try {
      secret = guard.keys().unwrap(record.key(), record.wrapped(), context);
    } catch (ConfideException e) {
      if (!e.kind().equals("UnknownKey")) {
        throw e;
      }
      guard.renewKeys(); // a version that was made since this run began
      secret = guard.keys().unwrap(record.key(), record.wrapped(), context);
    }
    Open opened = new Open(record.start(), new SecretKeySpec(secret, "AES"));
    Arrays.fill(secret, (byte) 0);
    if (open.size() >= MAX_OPEN) {
      open.clear();
    }
    open.put(producer, opened);
    return opened.key;
  }

  private void advance(String producer, long number) throws ConfideException {
    Long known = last.get(producer);
    long before = known != null ? known : whole ? 0 : number - 1;
    if (number <= before) {
      throw new ConfideException("Tampered", "a record was repeated, or is out of order: number " + number
          + " of producer " + producer + " after " + before);
    }
    if (number > before + 1) {
      throw new ConfideException("Tampered", "records are missing: number " + number + " of producer " + producer
          + " after " + (before == 0 ? "none" : before));
    }
    if (known == null && last.size() >= MAX_PRODUCERS) {
      throw new ConfideException("InvalidFormat", "a stream of more than " + MAX_PRODUCERS + " producers");
    }
    last.put(producer, number);
  }
}
