// Stands in for packages that dockerode and docker-modem load but the agent never uses: Docker over
// SSH (ssh2), BuildKit sessions (gRPC, protobuf), build contexts (tar-fs, dockerignore, zlib); and
// gives Node's own streams for a copy of them (readable-stream). Together they were 1.5 of the 2.3 MB of the
// bundle, and 11 MB of memory. electron/build.ts puts it in their place.

export { Duplex, PassThrough, Readable, Transform, Writable } from 'node:stream';

function unsupported(): never {
  throw new Error("the agent speaks to Docker on this machine's own socket, and builds no images");
}

/** ssh2, called with `new`. */
export const Client = unsupported;
/** @grpc/grpc-js. */
export const Server = unsupported;
export const loadPackageDefinition = unsupported;
/** @grpc/proto-loader. */
export const loadSync = unsupported;
export const load = unsupported;
/** protobufjs. */
export const Root = unsupported;
export const parse = unsupported;
/** tar-fs. */
export const pack = unsupported;
/** zlib, which `ws` asks for as well: compression is off. */
export const createGzip = unsupported;

export default {
  Client,
  Server,
  loadPackageDefinition,
  loadSync,
  load,
  Root,
  parse,
  pack,
  createGzip,
};
