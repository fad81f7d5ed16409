package confide.flink.redis;

import confide.ConfideException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The id of an entry of a Redis stream. It says where to read on, and nothing that is believed. */
record EntryId(long milliseconds, long sequence) implements Comparable<EntryId> {
  static final EntryId NONE = new EntryId(0, 0);
  private static final Pattern FORM = Pattern.compile("([0-9]{1,20})-([0-9]{1,20})");

  static EntryId parse(String text) throws ConfideException {
    Matcher match = FORM.matcher(text);
    try {
      if (match.matches()) {
        return new EntryId(Long.parseUnsignedLong(match.group(1)), Long.parseUnsignedLong(match.group(2)));
      }
    } catch (NumberFormatException e) {
      // more than 64 bits: refused below
    }
    throw new ConfideException("InvalidFormat", "not the id of a stream's entry");
  }

  @Override
  public int compareTo(EntryId other) {
    int first = Long.compareUnsigned(milliseconds, other.milliseconds);
    return first != 0 ? first : Long.compareUnsigned(sequence, other.sequence);
  }

  @Override
  public String toString() {
    return Long.toUnsignedString(milliseconds) + "-" + Long.toUnsignedString(sequence);
  }
}
