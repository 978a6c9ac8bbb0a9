// One model in ONNX Runtime (npm's onnxruntime-node), driven by bench/peers.py.
//
//     node peers_worker.js MODEL.onnx INPUT.f32 DIMS THREADS     DIMS: 1,3,224,224
//
// Prints a line of JSON once the model is loaded, {"load_ms", "version", "outputs": [names]}, and then answers lines of
// stdin: a number N runs the model N times and gives {"ms": [...], "peak_rss_mb"}; a path writes the outputs of one run
// there as raw f32, one after the other, and gives {"shapes": [[...]]}. Ends with stdin.
'use strict';
const fs = require('fs');
const readline = require('readline');
const ort = require('onnxruntime-node');

const [model, input, dims, threads] = process.argv.slice(2);

// VmHWM, for maxRSS also counts what the process was before exec: a copy of its parent.
function peakMb() {
  const line = fs.readFileSync('/proc/self/status', 'latin1').match(/^VmHWM:\s*(\d+)/m);
  return ((line ? Number(line[1]) : process.resourceUsage().maxRSS) * 1024) / 1e6;
}

function reply(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function time(session, feed, runs) {
  const ms = [];
  for (let i = 0; i < runs; i++) {
    const start = process.hrtime.bigint();
    await session.run(feed);
    ms.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  return { ms, peak_rss_mb: peakMb() };
}

async function save(session, feed, file) {
  const outputs = await session.run(feed);
  const bytes = session.outputNames.map((name) => Buffer.from(outputs[name].data.buffer));
  fs.writeFileSync(file, Buffer.concat(bytes));
  return { shapes: session.outputNames.map((name) => outputs[name].dims) };
}

(async () => {
  const start = process.hrtime.bigint();
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: Number(threads),
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
  });
  const load_ms = Number(process.hrtime.bigint() - start) / 1e6;
  const bytes = fs.readFileSync(input);
  const data = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const feed = { [session.inputNames[0]]: new ort.Tensor('float32', data, dims.split(',').map(Number)) };
  reply({ load_ms, version: ort.env.versions.node, outputs: session.outputNames });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    reply(/^\d+$/.test(line) ? await time(session, feed, Number(line)) : await save(session, feed, line));
  }
})();
