// The file by which a machine becomes a member of the control plane: the cluster's id and its
// certificate authority (every member signs certificates, as k3s' servers do), the new member's key,
// and whom to talk to. Whoever has it has the cluster: it is written with mode 0600, and used once.
// Invariant: a data directory that holds anything of another cluster or member is never touched.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import { memberIdOf, publicKeyDer, type KeyPairPem } from '#platform/certificate.ts';
import { secretKeysName, tokenKeyName } from '#platform/pki.ts';
import { isHostAndPort } from '../../options.ts';
import type { Member, MemberId } from '../raft/types.ts';

export interface Invitation {
  readonly clusterId: string;
  /** Of the invited machine; no other member has it. */
  readonly name: string;
  /** Where it will listen: `host:port`. */
  readonly address: string;
  readonly ca: KeyPairPem;
  readonly peer: KeyPairPem;
  /** Signs the tokens of service accounts: every member takes the others' for its own. */
  readonly tokenKeyPem: string;
  /** By which Secrets lie encrypted in the store: a line for each, the first one writes. */
  readonly secretKeys: string;
  /** The members there are, for the first contact. */
  readonly members: readonly Member[];
}

/** Its message is a sentence for a person. Nothing was changed. */
export class InvitationError extends Error {
  override readonly name = 'InvitationError';
}

const format = 'flotilla-invitation-3';

export function formatInvitation(invitation: Invitation): string {
  return `${JSON.stringify({ format, ...invitation }, undefined, 2)}\n`;
}

/** `source` names the text in the sentence of an InvitationError. */
export function parseInvitation(text: string, source: string): Invitation {
  const refused = new InvitationError(
    `${source} is no invitation, or a part of it is missing: make one with \`npm run cluster -- invite NAME HOST:PORT\` on a member.`,
  );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refused;
  }
  const invitation = recordOf(value);
  const { format: found, clusterId, name, address, ca, peer, members } = invitation;
  const { tokenKeyPem, secretKeys } = invitation;
  if (typeof found === 'string' && found.startsWith('flotilla-invitation-') && found !== format)
    throw new InvitationError(
      `${source} was made by another release of Flotilla: use the same release on both machines.`,
    );
  const isSound =
    found === format &&
    [clusterId, name, address, secretKeys].every(
      (part) => typeof part === 'string' && part !== '',
    ) &&
    isHostAndPort(String(address)) &&
    isKeyPair(ca) &&
    isKeyPair(peer) &&
    isPem(tokenKeyPem) &&
    Array.isArray(members) &&
    members.every(isMember);
  if (!isSound) throw refused;
  return invitation as unknown as Invitation;
}

/** By its key. Throws InvitationError. */
export function invitedMember({ peer }: Invitation): MemberId {
  try {
    return memberIdOf(publicKeyDer(peer.keyPem));
  } catch (error) {
    throw new InvitationError('The key in the invitation is damaged: make another invitation.', {
      cause: error,
    });
  }
}

/**
 * Makes `dataDirectory` the invited member's: certificates and key are written, unless they are
 * there already. Undefined: the file is gone, and the directory has joined before. Throws
 * InvitationError.
 */
export async function acceptInvitation(
  file: string,
  dataDirectory: string,
): Promise<Invitation | undefined> {
  const text = await readInvitation(file, dataDirectory);
  if (text === undefined) return undefined;
  const invitation = parseInvitation(text, file);
  invitedMember(invitation);
  const wanted = filesOf(invitation);
  const found = await Promise.all(
    wanted.map(({ name }) => readFileIfExists(path.join(dataDirectory, name))),
  );
  for (const [i, { isIdentity, content }] of wanted.entries()) {
    if (isIdentity && found[i] !== undefined && found[i] !== content)
      throw new InvitationError(
        `The data directory ${dataDirectory} is in use by another cluster or member: --join needs one that is unused (choose another --data).`,
      );
  }
  for (const [i, { name, content }] of wanted.entries())
    if (found[i] === undefined) await writeFileAtomic(path.join(dataDirectory, name), content);
  return invitation;
}

async function readInvitation(file: string, dataDirectory: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const joined = await readFileIfExists(path.join(dataDirectory, 'store', 'member.json'));
    if (joined !== undefined && (error as NodeJS.ErrnoException).code === 'ENOENT')
      return undefined;
    throw new InvitationError(
      `The invitation ${file} can't be read (${(error as Error).message}): give the file that \`npm run cluster -- invite\` wrote.`,
      { cause: error },
    );
  }
}

/** A certificate is renewed with time; keys and the authority are what a member is known by. */
function filesOf({ ca, peer, tokenKeyPem, secretKeys }: Invitation) {
  return [
    { name: 'pki/ca.key', content: ca.keyPem, isIdentity: true },
    { name: 'pki/ca.crt', content: ca.certPem, isIdentity: true },
    { name: `pki/${tokenKeyName}`, content: tokenKeyPem, isIdentity: true },
    { name: `pki/${secretKeysName}`, content: secretKeys, isIdentity: false },
    { name: 'pki/peer.key', content: peer.keyPem, isIdentity: true },
    { name: 'pki/peer.crt', content: peer.certPem, isIdentity: false },
  ];
}

function isKeyPair(value: unknown): boolean {
  const { certPem, keyPem } = recordOf(value);
  return isPem(certPem) && isPem(keyPem);
}

function isPem(value: unknown): boolean {
  return typeof value === 'string' && value.startsWith('-----BEGIN');
}

function isMember(value: unknown): boolean {
  const { id, role, name, addresses } = recordOf(value);
  return (
    Number.isSafeInteger(id) &&
    (role === 'voter' || role === 'learner') &&
    typeof name === 'string' &&
    Array.isArray(addresses) &&
    addresses.every((address) => typeof address === 'string')
  );
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
