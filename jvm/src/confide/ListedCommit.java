package confide;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.internal.io.FileCommitProtocol.TaskCommitMessage;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol;
import scala.Option;

/**
 * Makes a Spark SQL write a commit that the broker knows: the listing of the location changes when the whole
 * job has succeeded, and not before.
 *
 * <p>Tasks report the files they wrote, with sizes and bindings taken while writing; the driver sends the new
 * complete list. What an overwrite replaces is deleted only after the commit, so that a failed job leaves the
 * old content. {@code CommitProtocol} is made of it for each version of Spark, whose ways to hand the tasks' messages
 * over differ.
 */
abstract class ListedCommit extends SQLHadoopMapReduceCommitProtocol {
  private final String output;
  private final boolean dynamicOverwrite;
  private String table;
  private HashMap<String, Integer> versions;
  private transient List<Path> staged;
  private transient List<Path> replaced;

  /** What a task sends to the driver: Spark's own message, and the files the task wrote. */
  private static final class Report extends TaskCommitMessage {
    private final ArrayList<ListedFile> files;

    Report(TaskCommitMessage message, ArrayList<ListedFile> files) {
      super(message.obj());
      this.files = files;
    }
  }

  ListedCommit(String jobId, String path, boolean dynamicPartitionOverwrite) {
    super(jobId, path, dynamicPartitionOverwrite);
    output = path;
    dynamicOverwrite = dynamicPartitionOverwrite;
  }

  @Override
  public void setupJob(JobContext job) {
    try {
      GrantedArea area = area(job.getConfiguration());
      if (area != null) {
        if (dynamicOverwrite) {
          throw new ConfideException("Misuse",
              "overwriting single partitions is not supported: " + area.grant.location);
        }
        area.requireWrite(folder(job.getConfiguration()));
        if (replaced == null) {
          area.requireClean(folder(job.getConfiguration()));
        }
        table = area.grant.tableId();
        area.guard.renewKeys();
        versions = area.guard.keys().versions();
      }
    } catch (IOException e) {
      throw ConfideException.sneak(e);
    }
    super.setupJob(job);
  }

  @Override
  public void setupTask(TaskAttemptContext task) {
    staged = new ArrayList<>();
    try {
      GrantedArea area = area(task.getConfiguration());
      if (area != null) {
        area.grant.adoptTable(table);
        area.guard.renewKeys(versions); // an executor may not have heard of a rotation yet
      }
    } catch (IOException e) {
      throw ConfideException.sneak(e);
    }
    super.setupTask(task);
  }

  @Override
  public String newTaskTempFile(TaskAttemptContext task, Option<String> folder, FileNameSpec spec) {
    String file = super.newTaskTempFile(task, folder, spec);
    requireNoPartitions(task, folder.isDefined());
    staged.add(new Path(file));
    return file;
  }

  @Override
  public String newTaskTempFileAbsPath(TaskAttemptContext task, String folder, FileNameSpec spec) {
    requireNoPartitions(task, true);
    return super.newTaskTempFileAbsPath(task, folder, spec);
  }

  @Override
  public TaskCommitMessage commitTask(TaskAttemptContext task) {
    ArrayList<ListedFile> files = new ArrayList<>();
    try {
      GrantedArea area = area(task.getConfiguration());
      for (Path path : area == null ? List.<Path>of() : staged) {
        Path qualified = GuardFileSystem.under(path, task.getConfiguration());
        ListedFile file = area.guard.written().get(area.grant, area.relative(qualified));
        if (file != null) {
          files.add(new ListedFile(path.getName(), file.size(), file.binding()));
        }
      }
    } catch (IOException e) {
      throw ConfideException.sneak(e);
    }
    return new Report(super.commitTask(task), files);
  }

  @Override
  public boolean deleteWithJob(FileSystem fs, Path path, boolean recursive) {
    try {
      if (area(fs.getConf()) == null) {
        return super.deleteWithJob(fs, path, recursive);
      }
    } catch (IOException e) {
      throw ConfideException.sneak(e);
    }
    replaced = replaced == null ? new ArrayList<>() : replaced;
    replaced.add(path);
    return true;
  }

  /** Makes what the tasks wrote the content of the location, once Spark has moved it there. */
  final void commitListed(JobContext job, List<TaskCommitMessage> messages) {
    try {
      Configuration conf = job.getConfiguration();
      GrantedArea area = area(conf);
      if (area != null) {
        commit(area, conf, messages);
      }
    } catch (IOException e) {
      throw ConfideException.sneak(e);
    }
  }

  private void commit(GrantedArea area, Configuration conf, List<TaskCommitMessage> messages) throws IOException {
    String folder = area.relative(folder(conf));
    List<ListedFile> added = new ArrayList<>();
    for (TaskCommitMessage message : messages) {
      for (ListedFile file : ((Report) message).files) {
        added.add(new ListedFile(Names.join(folder, file.path()), file.size(), file.binding()));
      }
    }
    List<String> gone = new ArrayList<>();
    for (Path path : replaced == null ? List.<Path>of() : replaced) {
      gone.add(area.relative(GuardFileSystem.under(path, conf)));
    }
    Guard.Commit commit;
    try {
      commit = area.guard.commit(area.grant, added, name -> gone.stream().anyMatch(g -> Names.isWithin(name, g)));
    } catch (ConfideException e) {
      for (ListedFile file : added) {
        area.remove(area.absolute(folder(conf), file.path()));
      }
      throw e;
    }
    for (String name : gone) {
      area.sweep(area.absolute(folder(conf), name));
    }
    ListingCopy.write(area, area.absolute(folder(conf), Listing.FILE_NAME), commit.jws());
  }

  private void requireNoPartitions(TaskAttemptContext task, boolean partitioned) {
    try {
      if (partitioned && area(task.getConfiguration()) != null) {
        throw new ConfideException("NotEncrypted",
            "partition folders would hold values in clear, in their names: " + output);
      }
    } catch (IOException e) {
      throw ConfideException.sneak(e);
    }
  }

  private GrantedArea area(Configuration conf) throws IOException {
    return GuardFileSystem.granted(new Path(output), conf);
  }

  private Path folder(Configuration conf) throws IOException {
    return GuardFileSystem.under(new Path(output), conf);
  }
}
