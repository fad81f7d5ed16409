package confide;

import org.apache.hadoop.mapreduce.JobContext;
import org.apache.spark.internal.io.FileCommitProtocol.TaskCommitMessage;
import scala.collection.JavaConverters;
import scala.collection.Seq;

/** The commit of a write, for Spark 3.5, whose Scala is 2.12. Set by {@code spark.sql.sources.commitProtocolClass}. */
public final class CommitProtocol extends ListedCommit {
  /** The constructor that Spark looks for. */
  public CommitProtocol(String jobId, String path, boolean dynamicPartitionOverwrite) {
    super(jobId, path, dynamicPartitionOverwrite);
  }

  @Override
  public void commitJob(JobContext job, Seq<TaskCommitMessage> messages) {
    super.commitJob(job, messages);
    commitListed(job, JavaConverters.seqAsJavaList(messages));
  }
}
