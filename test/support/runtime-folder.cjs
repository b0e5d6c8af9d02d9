const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');

// Commands look here for servers that run: those of another test process are none of this one's.
const folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-runtime-'));
process.env.XDG_RUNTIME_DIR = folder;
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
