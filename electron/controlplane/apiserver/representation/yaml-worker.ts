// The thread that reads one long YAML body and ends: started by yaml.ts, which bounds its time and
// its memory. A bundle of its own beside the control plane's (electron/build.ts).
import { parentPort, workerData } from 'node:worker_threads';
import { yamlToJson, type YamlAsJson } from './yaml-json.ts';

/** What the thread says of the text it was started with. */
export type YamlAnswer = YamlAsJson | { readonly error: string };

function answer(): YamlAnswer {
  try {
    return yamlToJson(String(workerData));
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.postMessage(answer());
