/* SPDX-License-Identifier: Apache-2.0
 *
 * The parent half of a story that costs many teams hours: a Java process feeds a child in another language over its stdin and stdout, JSON
 * lines, an acknowledgement per batch (the pattern of the Kinesis MultiLangDaemon). As there, the lines are read and written by tasks of an
 * executor while the consumer thread waits for their futures. Neither process is ever busy, and no batch starts before the last is acked.
 *
 * Usage: java Feeder PYTHON CONSUMER.py [--seconds S] [--batch RECORDS] [--window BATCHES]
 * --window N (default 1: lock-step) is the fix: up to N batches on their way. Prints its truth as one line of JSON.
 */
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public class Feeder {
    private final BufferedWriter toChild;
    private final BufferedReader fromChild;
    private final ExecutorService executor = Executors.newCachedThreadPool();
    private long sequence;

    Feeder(Process child) {
        toChild = new BufferedWriter(new OutputStreamWriter(child.getOutputStream(), StandardCharsets.UTF_8));
        fromChild = new BufferedReader(new InputStreamReader(child.getInputStream(), StandardCharsets.UTF_8));
    }

    private String batch(int records) {
        StringBuilder b = new StringBuilder("{\"action\":\"processRecords\",\"sequence\":").append(sequence++).append(",\"records\":[");
        for (int i = 0; i < records; i++) {
            b.append(i == 0 ? "" : ",").append("{\"data\":\"").append(sequence * 31 + i).append("\",\"partitionKey\":\"p").append(i).append("\"}");
        }
        return b.append("]}").toString();
    }

    private Void writeMessage(String message) throws IOException {
        toChild.write(message);
        toChild.newLine();
        toChild.flush(); // site: parent_writes
        return null;
    }

    private String readStatus() throws IOException {
        return fromChild.readLine(); // site: parent_waits
    }

    private void acknowledge(Future<String> status) throws Exception {
        String line = status.get(); // site: consumer_waits
        if (line == null || !line.contains("\"status\"")) {
            throw new IllegalStateException("the child said: " + line);
        }
    }

    /* Returns the number of batches acknowledged. */
    private long run(double seconds, int records, int window) throws Exception {
        ArrayDeque<Future<String>> underway = new ArrayDeque<>();
        ExecutorService reader = Executors.newSingleThreadExecutor();
        long end = System.nanoTime() + (long) (seconds * 1e9);
        long done = 0;
        while (System.nanoTime() < end) {
            String message = batch(records);
            executor.submit(() -> writeMessage(message)).get();
            underway.add(reader.submit(this::readStatus));
            if (underway.size() >= window) {
                acknowledge(underway.remove());
                done++;
            }
        }
        for (Future<String> f : underway) {
            acknowledge(f);
            done++;
        }
        toChild.close();
        reader.shutdown();
        executor.shutdown();
        return done;
    }

    private static String option(String[] args, String name, String otherwise) {
        for (int i = 2; i + 1 < args.length; i++) {
            if (args[i].equals(name)) {
                return args[i + 1];
            }
        }
        return otherwise;
    }

    public static void main(String[] args) throws Exception {
        double seconds = Double.parseDouble(option(args, "--seconds", "3"));
        int records = Integer.parseInt(option(args, "--batch", "10"));
        int window = Integer.parseInt(option(args, "--window", "1"));
        ProcessBuilder builder = new ProcessBuilder(args[0], args[1]);
        builder.redirectError(ProcessBuilder.Redirect.INHERIT);
        Process child = builder.start();
        long start = System.nanoTime();
        long done = new Feeder(child).run(seconds, records, window);
        double took = (System.nanoTime() - start) / 1e9;
        child.waitFor();
        System.out.printf("{\"program\":\"Feeder\",\"variant\":\"%s\",\"finding\":\"%s\",\"items\":%d,\"seconds\":%.6f,\"items_per_s\":%.3f,"
                + "\"round_trips\":%d,\"processes\":[{\"role\":\"parent\",\"pid\":%d},{\"role\":\"child\",\"pid\":%d}],\"waits\":[],"
                + "\"tolerated\":[]}%n",
            window == 1 ? "broken" : "fixed", window == 1 ? "lockstep" : "none", done, took, done / took, done,
            ProcessHandle.current().pid(), child.pid());
    }
}
