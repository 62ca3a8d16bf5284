// etcd's Snapshot: the state as the file that `etcdctl snapshot restore` takes, written beside the
// data first, then streamed.
// Source: etcd server/etcdserver/api/v3rpc/maintenance.go.
import { open, rm, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { uuid } from '#kube/base/random.ts';
import type { ServerCall, StreamMethod } from './grpc-server.ts';
import * as wire from './protocol-admin.ts';
import type { ServiceDeps } from './server.ts';
import { writeSnapshot } from './snapshot-file.ts';
import { asRefusal } from './status.ts';

const chunkBytes = 256 * 1024;

export function snapshotMethod(service: ServiceDeps): StreamMethod {
  return {
    kind: 'stream',
    open(call) {
      let isClosed = false;
      let isAsked = false;
      return {
        message() {
          if (isAsked) return;
          isAsked = true;
          stream(service, call, () => isClosed).then(
            () => call.finish(),
            (error: unknown) => call.finish(asRefusal(error)),
          );
        },
        end() {},
        close: () => void (isClosed = true),
      };
    },
  };
}

async function stream(
  service: ServiceDeps,
  call: ServerCall,
  isClosed: () => boolean,
): Promise<void> {
  const name = path.join(service.temporaryFolder, `etcd-snapshot-${uuid(service.random)}.tmp`);
  const file = await open(name, 'wx+', 0o600);
  try {
    // Nobody else needs the name, and nothing is left behind by a crash.
    await rm(name);
    const { sizeBytes, revision } = await writeSnapshot(service.kv, file);
    await send(service, call, { file, sizeBytes, revision, isClosed });
  } finally {
    await file.close();
  }
}

interface Written {
  readonly file: FileHandle;
  readonly sizeBytes: number;
  readonly revision: number;
  readonly isClosed: () => boolean;
}

async function send(service: ServiceDeps, call: ServerCall, written: Written): Promise<void> {
  const { file, sizeBytes, revision, isClosed } = written;
  for (let at = 0; at < sizeBytes && !isClosed();) {
    // A new one each time: the last one may not be sent yet.
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, sizeBytes - at));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) throw new Error(`the snapshot ends at ${at} of ${sizeBytes} bytes`);
    at += bytesRead;
    const message = {
      header: service.header(revision),
      remaining_bytes: sizeBytes - at,
      blob: chunk.subarray(0, bytesRead),
    };
    await call.send(wire.snapshotResponse.encodeFrame(message));
  }
}
