// Runs ONNX models in ONNX Runtime (npm's onnxruntime-node). Lines of JSON on stdin, {"model", "input", "out"}: the
// model, its input as an f32 .npy, and a folder that gets NAME.npy for each output. A line of JSON on stdout for each:
// {"outputs": [names]} or {"error": text}.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');

let ort;
try {
  ort = require('onnxruntime-node');
} catch (error) {
  process.exit(77);
}

function readNpy(file) {
  const bytes = fs.readFileSync(file);
  const length = bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, 10 + length);
  const dims = header.match(/\(([^)]*)\)/)[1].split(',').filter((d) => d.trim()).map(Number);
  const data = new Uint8Array(bytes.subarray(10 + length)).buffer;
  return new ort.Tensor('float32', new Float32Array(data), dims);
}

function writeNpy(file, tensor) {
  const shape = tensor.dims.map((d) => `${d},`).join('');
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`;
  header += ' '.repeat(63 - ((10 + header.length) % 64)) + '\n';
  const start = Buffer.alloc(10);
  start.write('\x93NUMPY\x01\x00', 0, 'latin1');
  start.writeUInt16LE(header.length, 8);
  const data = Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
  fs.writeFileSync(file, Buffer.concat([start, Buffer.from(header, 'latin1'), data]));
}

async function run(job) {
  const session = await ort.InferenceSession.create(job.model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const outputs = await session.run({ [session.inputNames[0]]: readNpy(job.input) });
  for (const name of session.outputNames) {
    writeNpy(path.join(job.out, `${name}.npy`), outputs[name]);
  }
  await session.release();
  return session.outputNames;
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { outputs: await run(JSON.parse(line)) };
    } catch (error) {
      answer = { error: String(error.message || error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
})();
