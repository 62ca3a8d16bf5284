// Pure: the parts of an image's name, and what is wrong with it, in Docker's words.
// Source: github.com/distribution/reference (regexp.go, normalize.go).

export interface ImageName {
  /** `docker.io` when the name has none. */
  readonly registry: string;
  /** Within the registry: `library/nginx`. */
  readonly repository: string;
  /** `latest` when it has neither tag nor digest; '' when a digest alone tells which it is. */
  readonly tag: string;
  /** `sha256:…`, or ''. */
  readonly digest: string;
}

export class ImageNameError extends Error {
  override readonly name = 'ImageNameError';
}

const path = String.raw`[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`;
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const host = String.raw`(?:${label}(?:\.${label})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?`;
const digest = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const pattern = new RegExp(
  String.raw`^(${host})/(${path}(?:/${path})*)(?::(\w[\w.-]{0,127}))?(?:@(${digest}))?$`,
);
const lengthMax = 255;
/** More than any name can have that is one: nothing long is matched. */
const textMax = 1024;

/** Throws ImageNameError. */
export function parseImageName(text: string): ImageName {
  if (/^[a-f0-9]{64}$/.test(text))
    throw new ImageNameError(
      `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    );
  const { registry, rest } = splitRegistry(text);
  const repository = rest.split(':')[0] ?? '';
  if (repository !== repository.toLowerCase())
    throw new ImageNameError(
      `invalid reference format: repository name (${repository}) must be lowercase`,
    );
  const match = text.length > textMax ? null : pattern.exec(`${registry}/${rest}`);
  if (match === null) throw new ImageNameError('invalid reference format');
  const [, , name = '', tag = '', found = ''] = match;
  if (registry.length + 1 + name.length > lengthMax)
    throw new ImageNameError(`repository name must not be more than ${lengthMax} characters`);
  return { registry, repository: name, tag: tag || (found === '' ? 'latest' : ''), digest: found };
}

export function isImageName(text: string): boolean {
  try {
    return parseImageName(text).repository !== '';
  } catch {
    return false;
  }
}

function splitRegistry(text: string): { readonly registry: string; readonly rest: string } {
  const slash = text.indexOf('/');
  const first = slash < 0 ? '' : text.slice(0, slash);
  // Docker's rule: only so does it look like a machine rather than somebody's name.
  const isRegistry = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const registry = !isRegistry || first === 'index.docker.io' ? 'docker.io' : first;
  const rest = isRegistry ? text.slice(slash + 1) : text;
  return {
    registry,
    rest: registry === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest,
  };
}

/** As registries and Docker's digests call it, without tag: `docker.io/library/nginx`. */
export function repositoryOf({ registry, repository }: ImageName): string {
  return `${registry}/${repository}`;
}

/** One text for one name, however it was written: `docker.io/library/nginx:latest`. */
export function fullName(image: ImageName): string {
  const tag = image.tag === '' ? '' : `:${image.tag}`;
  return `${repositoryOf(image)}${tag}${image.digest === '' ? '' : `@${image.digest}`}`;
}
