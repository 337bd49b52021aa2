// The JavaScript reader on one file: exit code 0 = accepted, 10 = rejected.
// Usage: node read_gguf.mjs MODULE_FOLDER FILE
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, file] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const { gguf } = await import(pathToFileURL(require.resolve("@huggingface/gguf")));
try {
  await gguf(file, { allowLocalFile: true });
} catch {
  process.exit(10);
}
