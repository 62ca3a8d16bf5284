// The only import of dockerode: the handful of Docker Engine calls that docker-runtime.ts makes,
// each with a typed answer, and every failure as a RuntimeError that carries Docker's own words.
// Source: Docker Engine API v1.41.
import Docker from 'dockerode';
import { Readable, type Duplex } from 'node:stream';
import type { PullEvent } from './pull-progress.ts';
import { RuntimeError, type ProcessOptions, type RuntimeErrorKind } from './runtime.ts';

export type ContainerSummary = Docker.ContainerInfo;
export type ContainerDetails = Docker.ContainerInspectInfo;
export type ContainerCreate = Docker.ContainerCreateOptions;
export type NetworkDetails = Docker.NetworkInspectInfo;
export type ImageDetails = Docker.ImageInspectInfo;
export type ImageSummary = Docker.ImageInfo;

export interface EngineFacts {
  readonly version: string;
  readonly arch: string;
  readonly os: string;
  readonly rootDir: string;
  readonly cgroupVersion: string;
  /** `cgroupfs` or `systemd`. */
  readonly cgroupDriver: string;
  /** By name: `runc`, `nvidia`. */
  readonly runtimes: readonly string[];
  /** False with containerd's image store, which gives a digest to whatever is built or loaded as well. */
  readonly digestsTellPulls: boolean;
}

export type Filters = Readonly<Record<string, readonly string[]>>;

export interface AuthConfig {
  readonly username: string;
  readonly password: string;
  readonly serveraddress: string;
}

/** One line of Docker's answer to a load. */
export interface LoadEvent {
  readonly status?: string;
  /** `Loaded image: nginx:1`, `Loaded image ID: sha256:…`. */
  readonly stream?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

export interface EnginePull {
  readonly auth?: AuthConfig | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: (event: PullEvent) => void;
}

/**
 * Docker's own way out of a terminal, ctrl-p ctrl-q, would swallow a shell's ctrl-p. It can't be
 * switched off: keys that nobody presses in a row.
 */
const detachKeys = 'ctrl-^,ctrl-_,ctrl-^,ctrl-_';

export class DockerClient {
  readonly #docker: Docker;

  constructor(socketPath: string) {
    this.#docker = new Docker({ socketPath });
  }

  async facts(): Promise<EngineFacts> {
    const [version, info] = await attempt(() =>
      Promise.all([this.#docker.version(), this.#docker.info() as Promise<unknown>]),
    );
    const { DockerRootDir, CgroupVersion, CgroupDriver, DriverStatus, Runtimes } = info as {
      readonly Runtimes?: Readonly<Record<string, unknown>> | null;
      readonly DockerRootDir?: string;
      readonly CgroupVersion?: string;
      readonly CgroupDriver?: string;
      readonly DriverStatus?: readonly (readonly string[])[] | null;
    };
    return {
      version: version.Version,
      arch: version.Arch,
      os: version.Os,
      rootDir: DockerRootDir ?? '/var/lib/docker',
      cgroupVersion: CgroupVersion ?? '1',
      cgroupDriver: CgroupDriver ?? 'cgroupfs',
      runtimes: Object.keys(Runtimes ?? {}),
      digestsTellPulls: !(DriverStatus ?? []).flat().includes('io.containerd.snapshotter.v1'),
    };
  }

  listContainers(filters: Filters): Promise<ContainerSummary[]> {
    return attempt(() => this.#docker.listContainers({ all: true, filters: copy(filters) }));
  }

  inspectContainer(id: string): Promise<ContainerDetails> {
    return attempt(() => this.#docker.getContainer(id).inspect());
  }

  /** Walks the container's layer: not for every second. */
  async containerSizeBytes(id: string): Promise<number | undefined> {
    // The typings don't know that it takes options.
    const container = this.#docker.getContainer(id) as unknown as {
      inspect(options: object): Promise<{ SizeRw?: number }>;
    };
    return (await attempt(() => container.inspect({ size: true }))).SizeRw;
  }

  async createContainer(body: ContainerCreate): Promise<string> {
    const container = await attempt(() => this.#docker.createContainer(body));
    return container.id;
  }

  async startContainer(id: string): Promise<void> {
    await attempt(() => this.#docker.getContainer(id).start());
  }

  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    await attempt(() => this.#docker.getContainer(id).stop({ t: graceSeconds }));
  }

  async updateContainer(id: string, body: object): Promise<void> {
    await attempt(() => this.#docker.getContainer(id).update(body));
  }

  async killContainer(id: string): Promise<void> {
    await attempt(() => this.#docker.getContainer(id).kill());
  }

  async removeContainer(id: string): Promise<void> {
    await attempt(() => this.#docker.getContainer(id).remove({ force: true, v: true }));
  }

  /** stdout and stderr in Docker's frames (raw when `tty`); the exit code is asked afterwards. */
  async exec(id: string, command: readonly string[]): Promise<{ id: string; output: Readable }> {
    return attempt(async () => {
      const exec = await this.#docker.getContainer(id).exec({
        Cmd: [...command],
        AttachStdout: true,
        AttachStderr: true,
      });
      return { id: exec.id, output: (await exec.start({})) as unknown as Readable };
    });
  }

  /** Both ways over one socket: its `end()` is the end of the process's input. */
  async startExec(
    id: string,
    { command, stdin, stdout, stderr, tty }: ProcessOptions,
  ): Promise<{ id: string; socket: Duplex }> {
    return attempt(async () => {
      const exec = await this.#docker.getContainer(id).exec({
        Cmd: [...command],
        AttachStdin: stdin,
        AttachStdout: stdout,
        AttachStderr: stderr,
        Tty: tty,
        DetachKeys: detachKeys,
      });
      // Hijacked also without stdin: only so does Docker hear that we are gone.
      const socket = await exec.start({ hijack: true, stdin: true, Tty: tty });
      return { id: exec.id, socket };
    });
  }

  async resizeExec(id: string, width: number, height: number): Promise<void> {
    await attempt(() => this.#docker.getExec(id).resize({ w: width, h: height }));
  }

  attach(id: string, streams: Omit<ProcessOptions, 'command' | 'tty'>): Promise<Duplex> {
    return attempt(
      async () =>
        (await this.#docker.getContainer(id).attach({
          ...streams,
          stream: true,
          hijack: true,
          detachKeys,
        })) as Duplex,
    );
  }

  async resizeContainer(id: string, width: number, height: number): Promise<void> {
    await attempt(() => this.#docker.getContainer(id).resize({ w: width, h: height }));
  }

  inspectExec(id: string): Promise<{ ExitCode: number | null; Pid: number }> {
    return attempt(() => this.#docker.getExec(id).inspect());
  }

  /** A stream even without `follow`: a log may be larger than memory. */
  logs(id: string, query: Readonly<Record<string, string | number | boolean>>): Promise<Readable> {
    return this.#stream('GET', `/containers/${id}/logs?`, query);
  }

  events(filters: Filters, signal: AbortSignal): Promise<Readable> {
    return attempt(
      async () =>
        (await this.#docker.getEvents({
          filters: copy(filters),
          abortSignal: signal,
        })) as unknown as Readable,
    );
  }

  inspectImage(name: string): Promise<ImageDetails> {
    return attempt(() => this.#docker.getImage(name).inspect());
  }

  listImages(): Promise<ImageSummary[]> {
    return attempt(() => this.#docker.listImages());
  }

  /** Untags; the image goes with its last tag. */
  async removeImage(name: string): Promise<void> {
    await attempt(() => this.#docker.getImage(name).remove());
  }

  /** Resolves when the pull is done. */
  async pullImage(name: string, { auth, signal, onEvent }: EnginePull): Promise<void> {
    const options = {
      ...(auth === undefined ? {} : { authconfig: { ...auth } }),
      ...(signal === undefined ? {} : { abortSignal: signal }),
    };
    await attempt(async () => this.#finish(await this.#docker.pull(name, options), onEvent));
  }

  async registryDigest(name: string, auth: AuthConfig | undefined): Promise<string> {
    const options = auth === undefined ? {} : { authconfig: { ...auth } };
    const image = this.#docker.getImage(name) as unknown as {
      distribution(options: object): Promise<{ Descriptor?: { digest?: string } }>;
    };
    const { Descriptor: { digest = '' } = {} } = await attempt(() => image.distribution(options));
    return digest;
  }

  /** Resolves when all is loaded. An archive that fails ends the request. */
  async loadImages(
    archive: AsyncIterable<Uint8Array>,
    onEvent?: (event: LoadEvent) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const broken = new AbortController();
    let why: unknown;
    const file = Readable.from(archive).once('error', (error) => {
      why = error;
      broken.abort();
    });
    const abortSignal = AbortSignal.any([broken.signal, ...(signal === undefined ? [] : [signal])]);
    try {
      await attempt(async () =>
        // Docker's default is silence, and who hears nothing for long gives up.
        this.#finish(await this.#docker.loadImage(file, { abortSignal, quiet: false }), onEvent),
      );
    } catch (error) {
      throw why ?? error;
    } finally {
      file.destroy();
    }
  }

  saveImage(id: string, signal: AbortSignal): Promise<Readable> {
    return this.#stream('GET', `/images/${encodeURIComponent(id)}/get?`, {}, signal);
  }

  async tagImage(id: string, repo: string, tag: string): Promise<void> {
    await attempt(() => this.#docker.getImage(id).tag({ repo, tag }));
  }

  listNetworks(filters: Filters = {}): Promise<NetworkDetails[]> {
    return attempt(() => this.#docker.listNetworks({ filters: copy(filters) }));
  }

  /** Whether containers are in it, running ones. */
  async isNetworkUsed(name: string): Promise<boolean> {
    const details = await attempt(() => this.#docker.getNetwork(name).inspect());
    return Object.keys(details.Containers ?? {}).length > 0;
  }

  async createNetwork(body: Docker.NetworkCreateOptions): Promise<void> {
    await attempt(() => this.#docker.createNetwork(body));
  }

  /** An end whose container is long gone may keep Docker from it (`ep-…` in its list): it is taken out first. */
  async removeNetwork(name: string): Promise<void> {
    const network = this.#docker.getNetwork(name);
    try {
      await network.remove();
    } catch (error) {
      const details: NetworkDetails = await attempt(() => network.inspect());
      const lost = Object.entries(details.Containers ?? {}).filter(([id]) => id.startsWith('ep-'));
      if (lost.length === 0) throw asRuntimeError(error);
      for (const [, { Name }] of lost)
        await attempt(() => network.disconnect({ Container: Name, Force: true }));
      await attempt(() => network.remove());
    }
  }

  /** A failure after the answer began is a line of it, which the library passes on as any other. */
  #finish(
    progress: NodeJS.ReadableStream,
    onEvent?: (event: PullEvent & LoadEvent) => void,
  ): Promise<void> {
    let failure: string | undefined;
    return new Promise((resolve, reject) => {
      this.#docker.modem.followProgress(
        progress,
        (error: Error | null) => {
          if (error !== null) reject(error);
          else if (failure !== undefined) reject(new RuntimeError('other', failure));
          else resolve();
        },
        (event: PullEvent & LoadEvent & { readonly error?: string }) => {
          failure ??= event.error;
          onEvent?.(event);
        },
      );
    });
  }

  #stream(
    method: string,
    path: string,
    query: object,
    abortSignal?: AbortSignal,
  ): Promise<Readable> {
    return attempt(
      () =>
        new Promise<Readable>((resolve, reject) => {
          const statusCodes = {
            200: true,
            404: 'not found',
            409: 'conflict',
            500: 'server error',
          };
          const options = {
            path,
            method,
            isStream: true,
            statusCodes,
            options: query,
            ...(abortSignal === undefined ? {} : { abortSignal }),
          };
          this.#docker.modem.dial(options, (error: unknown, data: unknown) =>
            error === null || error === undefined ? resolve(data as Readable) : reject(error),
          );
        }),
    );
  }
}

function copy(filters: Filters): Record<string, string[]> {
  return Object.fromEntries(Object.entries(filters).map(([key, values]) => [key, [...values]]));
}

async function attempt<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw asRuntimeError(error);
  }
}

const connectionCodes = ['ECONNREFUSED', 'ENOENT', 'EACCES', 'ECONNRESET', 'EPIPE', 'ENOTSOCK'];

export function asRuntimeError(error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return error;
  const fields = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: unknown;
    statusCode?: unknown;
    json?: { message?: unknown };
    message?: unknown;
  };
  const said = fields.json?.message;
  const text = typeof said === 'string' ? said : String(fields.message ?? error);
  // docker-modem's own preamble; what Docker said comes after it.
  const message = text.replace(/^\(HTTP code \d+\) [\w /]+ - /, '').trim();
  const { statusCode } = fields;
  const known: Partial<Record<string, RuntimeErrorKind>> = {
    304: 'conflict',
    404: 'notFound',
    409: 'conflict',
  };
  if (typeof statusCode === 'number')
    return new RuntimeError(known[statusCode] ?? 'other', message, { cause: error });
  const gone = connectionCodes.includes(String(fields.code)) || message === 'socket hang up';
  return new RuntimeError(gone ? 'unavailable' : 'other', message, { cause: error });
}
