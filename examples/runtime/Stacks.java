/* SPDX-License-Identifier: Apache-2.0
 *
 * Parks threads in many ways, most of them in code that the compilers have seen and inlined, then prints "ready" and waits for the end of
 * its stdin. What each thread's stack is, a thread dump tells (jcmd PID Thread.print). Usage: java Stacks [THREADS]
 */
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Exchanger;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.IntUnaryOperator;
import java.util.function.Supplier;

public class Stacks {
    static volatile boolean parkNow;
    static final Object monitor = new Object();
    static final Object held = new Object();
    static final ReentrantLock lock = new ReentrantLock();
    static final LinkedBlockingQueue<Integer> queue = new LinkedBlockingQueue<>();
    static final SynchronousQueue<Integer> synchronous = new SynchronousQueue<>();
    static final CountDownLatch never = new CountDownLatch(1);
    static int sink;

    interface Shape {
        int area(int n);
    }

    static class Square implements Shape {
        public int area(int n) {
            return leaf(n) * n;
        }
    }

    static class Circle implements Shape {
        public int area(int n) {
            return leaf(n) * 3
                + 1;
        }
    }

    /* Called millions of times without parking, so that it is compiled and inlined before the one call that parks. */
    static int leaf(int n) {
        if (parkNow) {
            LockSupport.park();
        }
        return n + 1;
    }

    static int middle(int n, Shape s) {
        int a = s.area(n);
        return a + s.area(n + 1);
    }

    static int recurse(int depth, Shape s) {
        if (depth == 0) {
            return middle(depth, s);
        }
        return recurse(depth - 1, s) + 1;
    }

    static synchronized int lambda(int n) {
        IntUnaryOperator op = x -> leaf(x) + 1;
        return op.applyAsInt(n);
    }

    static int stream(int n) {
        return Arrays.asList(3, 1, 2).stream().mapToInt(x -> leaf(x + n)).sum();
    }

    static int sorted(int n) {
        List<Integer> l = new ArrayList<>(List.of(3, 1, 2));
        l.sort((a, b) -> leaf(a) - b);
        return l.get(0) + n;
    }

    static int reflected(int n) {
        try {
            return (Integer) Stacks.class.getDeclaredMethod("leaf", int.class).invoke(null, n);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    static int thrown(int n) {
        try {
            throw new IllegalStateException();
        } catch (IllegalStateException e) {
            return leaf(n);
        } finally {
            sink++;
        }
    }

    static void inMonitorWait() throws InterruptedException {
        synchronized (monitor) {
            monitor.wait();
        }
    }

    static void inContendedMonitor() {
        synchronized (held) {
            sink++;
        }
    }

    static void inLock() {
        lock.lock();
    }

    static Supplier<Integer> nested(Supplier<Integer> inner) {
        return () -> inner.get() + 1;
    }

    interface Body {
        void run() throws Exception;
    }

    static final Shape[] shapes = {new Square(), new Circle()};

    static final Body[] WAYS = {
        () -> sink += recurse(3, shapes[0]),
        () -> sink += recurse(40, shapes[1]),
        () -> sink += lambda(1),
        () -> sink += stream(2),
        () -> sink += sorted(3),
        () -> sink += reflected(4),
        () -> sink += thrown(5),
        () -> sink += nested(nested(nested(() -> leaf(1)))).get(),
        Stacks::inMonitorWait,
        Stacks::inContendedMonitor,
        Stacks::inLock,
        () -> queue.take(),
        () -> synchronous.take(),
        () -> new Exchanger<Integer>().exchange(1),
        () -> never.await(),
        () -> never.await(1000000, TimeUnit.SECONDS),
        () -> Thread.sleep(1000000000L),
        () -> System.in.read(),
        () -> new java.net.ServerSocket(0).accept(),
        () -> new Object() {
            int deep(int n) {
                return n == 0 ? leaf(0) : deep(n - 1) + 1;
            }
        }.deep(200),
    };

    static void warmUp(int rounds) {
        for (int i = 0; i < rounds; i++) {
            sink += recurse(3, shapes[i & 1]) + recurse(40, shapes[i & 1]) + thrown(1) + nested(nested(() -> leaf(1))).get();
            if ((i & 15) == 0) {
                sink += lambda(i) + stream(i) + sorted(i) + reflected(i);
            }
        }
    }

    static boolean parked(Thread t) {
        switch (t.getState()) {
            case WAITING:
            case TIMED_WAITING:
            case BLOCKED:
                return true;
            default:
                return false;
        }
    }

    public static void main(String[] args) throws Exception {
        int n = args.length > 0 ? Integer.parseInt(args[0]) : WAYS.length;
        int rounds = args.length > 1 ? Integer.parseInt(args[1]) : 20000;
        List<Thread> threads = new ArrayList<>();
        warmUp(rounds);
        lock.lock();
        synchronized (held) {
            parkNow = true;
            for (int i = 0; i < n; i++) {
                Body way = WAYS[i % WAYS.length];
                Thread t = new Thread(() -> {
                    try {
                        way.run();
                    } catch (Exception e) {
                        e.printStackTrace();
                    }
                }, "stack-" + i);
                t.setDaemon(true);
                t.start();
                threads.add(t);
            }
            for (Thread t : threads) {
                for (int tries = 0; !parked(t) && tries < 300; tries++) {
                    Thread.sleep(1); /* reads of stdin and accept() are RUNNABLE to Java */
                }
            }
            System.out.println("ready");
            System.out.flush();
            never.await();
        }
    }
}
