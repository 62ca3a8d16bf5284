// Stands in for packages that dockerode and docker-modem load but the agent never uses: Docker over
// SSH (ssh2), BuildKit sessions (gRPC, protobuf), build contexts (tar-fs, dockerignore). Together
// they were 1.4 of the 2.3 MB of the bundle, and 11 MB of memory. electron/build.ts puts it in their
// place.

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

export default { Client, Server, loadPackageDefinition, loadSync, load, Root, parse, pack };
