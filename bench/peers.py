#!/usr/bin/env python3
"""Times strata and its peers on the same models, weights, input and number of threads; run by bench/peers.sh.

All take turns on an otherwise idle machine: a few runs of one, a few of the next, and again, so that they meet the same
weather. What counts is the least time; the median says how much to trust it. A peer gets our exported graph in the form it
runs faster: as built, which its own optimiser folds and fuses, or after our passes. Before anything is timed, its outputs
have to agree with ours within 1e-4 of their largest magnitude.

ORT is ONNX Runtime, from npm. torch is PyTorch, where python3-torch and python3-onnx are installed.
"""
import argparse
import csv
import importlib.util
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "cli"))
import make_weights  # noqa: E402  the rule of docs/random-weights.md

MODELS = ["resnet50", "mobilenet_v3_large_100", "convnext_tiny", "resnest50", "efficientnet_b0", "repvgg_a0", "hrnet_w32",
          "rexnet_10"]
FORMS = {"built": [], "passes": ["--after", "all"]}
# Programs of one protocol, which peers_worker.js describes.
PEERS = {"ORT": ["node", os.path.join(HERE, "peers_worker.js")],
         "torch": [sys.executable, os.path.join(HERE, "peers_torch.py")]}
TOLERANCE = 1e-4
SEED = 1


class Failure(Exception):
    pass


def strata(exe, *arguments):
    done = subprocess.run([exe, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"strata {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def write_weights(exe, model, path):
    """The noise of --random-weights as a checkpoint: load times should be those of a file."""
    arrays = {}
    for line in strata(exe, "dump", model, "--at", outputs_of(exe, model, "both")).splitlines():
        if line.startswith("  param @"):
            name, desc = line[len("  param @"):].split(" : ")
            shape = [int(d) for d in desc[desc.index("[") + 1:desc.index("]")].split(",")]
            arrays[name] = make_weights.noise(name, shape, SEED, 2.0)
    make_weights.save(path, arrays)


def outputs_of(exe, model, outputs):
    if outputs == "logits":
        return "logits"
    features = json.loads(strata(exe, "info", model, "--json"))["features"]
    chosen = [str(f["index"]) for f in features]
    return ",".join(chosen + (["logits"] if outputs == "both" else []))


class Worker:
    """A peer with one model, in a process of its own."""

    def __init__(self, peer, file, data, shape, threads):
        self.peer = peer
        self.process = subprocess.Popen([*PEERS[peer], file, data, ",".join(map(str, shape)), str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.peer} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def outputs(self, path):
        shapes, values, at = self.ask(path)["shapes"], numpy.fromfile(path, numpy.float32), 0
        for name, shape in zip(self.about["outputs"], shapes):
            count = math.prod(shape)
            yield name, values[at:at + count].reshape(shape)
            at += count

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Case:
    """A model with chosen outputs and batch: its files, and the form that each peer likes."""

    def __init__(self, exe, folder, model, outputs, batch):
        self.exe, self.folder, self.batch = exe, folder, batch
        self.weights = os.path.join(folder, f"{model}.safetensors")
        if not os.path.exists(self.weights):
            write_weights(exe, model, self.weights)
        self.options = [model, "--at", outputs_of(exe, model, outputs), "--weights", self.weights]
        size = json.loads(strata(exe, "info", model, "--json"))["input"]["size"]
        self.shape = [batch, 3, *size]
        values = make_weights.noise("input", self.shape, SEED, 2.0) * numpy.float32(10)  # -2..2, as strata bench
        self.data, self.array = (os.path.join(folder, f"input.{end}") for end in ("f32", "npy"))
        values.tofile(self.data)
        numpy.save(self.array, values)
        self.form = {}

    def file(self, form):
        return os.path.join(self.folder, f"{form}.onnx")

    def worker(self, peer, threads, form=None):
        return Worker(peer, self.file(form or self.form[peer]), self.data, self.shape, threads)

    def choose_forms(self, peers, threads):
        for form, options in FORMS.items():
            strata(self.exe, "export", *self.options, "--batch", str(self.batch), "-o", self.file(form), *options)
        for peer in peers:
            best = {}
            for form in FORMS:
                worker = self.worker(peer, threads, form)
                worker.ask(2)
                best[form] = min(worker.ask(3)["ms"])
                worker.close()
            self.form[peer] = min(best, key=best.get)

    def check(self, worker):
        """The largest difference of any output, relative to its largest magnitude."""
        file = os.path.join(self.folder, "ours.npz")
        strata(self.exe, "extract", self.options[0], self.array, *self.options[1:], "-o", file)
        ours, worst = numpy.load(file), 0.0
        for name, theirs in worker.outputs(os.path.join(self.folder, "theirs.f32")):
            if ours[name].shape != theirs.shape:
                raise Failure(f"{name}: {ours[name].shape} here, {theirs.shape} there")
            worst = max(worst, float(numpy.abs(ours[name] - theirs).max() / numpy.abs(theirs).max()))
        if not worst <= TOLERANCE:
            raise Failure(f"outputs differ by {worst:.1e} of their largest magnitude; {TOLERANCE} is allowed")
        return worst

    def bench(self, threads, runs):
        return json.loads(strata(self.exe, "bench", *self.options, "--batch", str(self.batch), "--threads",
                                 str(threads), "--runs", str(runs), "--json"))


def measure(case, peers, threads, rounds, seconds):
    """For each peer minima, medians of the rounds' medians, and the rest, of both sides."""
    workers = [case.worker(peer, threads) for peer in peers]
    worst = [case.check(worker) for worker in workers]
    once = min(workers[0].ask(3)["ms"])
    runs = max(3, min(200, int(seconds * 1e3 / rounds / once)))
    ours, theirs = [], [[] for _ in workers]
    for _ in range(rounds):
        ours.append(case.bench(threads, runs))
        for worker, answers in zip(workers, theirs):
            answers.append(worker.ask(runs))
    for i, worker in enumerate(workers):
        row = {
            "peer": worker.peer, "threads": threads, "batch": case.batch,
            "ours_min": min(r["ms_min"] for r in ours), "ours_median": statistics.median(r["ms_median"] for r in ours),
            "peer_min": min(min(r["ms"]) for r in theirs[i]),
            "peer_median": statistics.median(t for r in theirs[i] for t in r["ms"]),
            "ours_load": min(r["load_ms"] + r["compile_ms"] for r in ours), "peer_load": worker.about["load_ms"],
            "ours_rss": max(r["peak_rss_mb"] for r in ours), "peer_rss": theirs[i][-1]["peak_rss_mb"],
            "difference": worst[i], "form": case.form[worker.peer], "runs": rounds * runs,
        }
        worker.close()
        yield {**row, "ratio": row["peer_min"] / row["ours_min"], "ratio_median": row["peer_median"] / row["ours_median"]}


HEADS = [("model", "{:24}", "{:24}"), ("outputs", "{:9}", "{:9}"), ("threads", "{:>3}", "{:>3}"),
         ("batch", "{:>3}", "{:>3}"), ("peer", "{:5}", "{:5}"), ("ours_min", "{:>9}", "{:9.2f}"),
         ("peer_min", "{:>9}", "{:9.2f}"),
         ("ratio", "{:>6}", "{:6.2f}"), ("ours_median", "{:>9}", "{:9.2f}"), ("peer_median", "{:>9}", "{:9.2f}"),
         ("ratio_median", "{:>6}", "{:6.2f}"), ("ours_load", "{:>7}", "{:7.0f}"), ("peer_load", "{:>7}", "{:7.0f}"),
         ("ours_rss", "{:>7}", "{:7.0f}"), ("peer_rss", "{:>7}", "{:7.0f}"), ("difference", "{:>8}", "{:8.0e}"),
         ("form", "{:7}", "{:7}"), ("runs", "{:>5}", "{:5}")]
TITLES = {"threads": "thr", "batch": "bat", "ours_min": "min ms", "peer_min": "its min", "ours_median": "median",
          "peer_median": "its med", "ratio_median": "ratio", "ours_load": "load ms", "peer_load": "its", "ours_rss": "RSS MB",
          "peer_rss": "its", "difference": "differ"}


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def summary(rows):
    groups = {}
    for row in rows:
        groups.setdefault((row["peer"], row["outputs"], row["threads"], row["batch"]), []).append(row)
    for (peer, outputs, threads, batch), group in groups.items():
        least = min(group, key=lambda row: row["ratio"])
        print(f"{peer}, {outputs}, {threads} threads, batch {batch}: geometric mean {geometric_mean([r['ratio'] for r in group]):.2f}"
              f" (medians {geometric_mean([r['ratio_median'] for r in group]):.2f}) of {len(group)} models,"
              f" least {least['ratio']:.2f} ({least['model']})")


def parse(arguments):
    p = argparse.ArgumentParser(prog="bench/peers.sh", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help="default: one of each family")
    p.add_argument("--outputs", default="logits,features", help="default logits,features")
    p.add_argument("--threads", default="1,2", help="default 1,2")
    p.add_argument("--batch", default="1,8", help="default 1,8")
    p.add_argument("--peers", help=f"of {','.join(PEERS)}; the first sets how many runs a turn has (default: all installed)")
    p.add_argument("--rounds", type=int, default=4, help="turns that each side takes (default 4)")
    p.add_argument("--seconds", type=float, default=2, help="about so long for each side of a row (default 2)")
    p.add_argument("--csv", metavar="FILE", help="the rows as CSV too; an existing file is continued")
    p.add_argument("--strata", default=os.path.join(HERE, "..", "build", "tools", "strata"), help="the command to time")
    p.add_argument("--summary", action="store_true", help="measure nothing: sum up the rows that --csv FILE has")
    return p.parse_args(arguments)


def read_csv(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key in ("ratio", "ratio_median"):
            row[key] = float(row[key])
    return rows


def append_csv(path, row):
    fresh = not os.path.exists(path) or os.path.getsize(path) == 0
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, [key for key, _, _ in HEADS])
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def installed():
    have_torch = all(importlib.util.find_spec(module) for module in ("torch", "onnx"))
    return [peer for peer in PEERS if peer != "torch" or have_torch]


def chosen_peers(text):
    peers = text.split(",") if text else installed()
    for peer in peers:
        if peer not in PEERS:
            raise Failure(f"--peers: '{peer}' is none of {', '.join(PEERS)}")
        if peer not in installed():
            raise Failure(f"--peers: no {peer} here. On Debian: apt-get install python3-torch python3-onnx")
    return peers


def run(options, peers, folder):
    rows = []
    for model in options.models:
        for outputs in options.outputs.split(","):
            for batch in map(int, options.batch.split(",")):
                case = Case(options.strata, folder, model, outputs, batch)
                for threads in map(int, options.threads.split(",")):
                    if not case.form:
                        case.choose_forms(peers, threads)
                    for row in measure(case, peers, threads, options.rounds, options.seconds):
                        row.update(model=model, outputs=outputs)
                        rows.append(row)
                        print(" ".join(form.format(row[key]) for key, _, form in HEADS), flush=True)
                        if options.csv:
                            append_csv(options.csv, row)
        os.remove(os.path.join(folder, f"{model}.safetensors"))
    return rows


def main():
    options = parse(sys.argv[1:])
    if options.summary:
        summary(read_csv(options.csv))
        return
    if not shutil.which(options.strata):
        raise Failure(f"no {options.strata}; build it (ninja -C build) or give --strata")
    peers = chosen_peers(options.peers)
    print(f"{processor()}, {os.cpu_count()} processors, beside {' and '.join(peers)}; a ratio above 1: strata is faster")
    print(" ".join(title.format(TITLES.get(key, key)) for key, title, _ in HEADS), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = run(options, peers, folder)
    print()
    summary(rows)


try:
    main()
except Failure as failure:
    sys.exit(f"peers: {failure}")
