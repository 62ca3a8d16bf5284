// machines/NAME/enrolment: what a person wants done to a machine. Checked here, done by the fleet. Nothing of what is asked
// is stored or logged, and no webhook sees a secret of it.
import type { Enrolment, EnrolmentSpec, EnrolmentStatus, Machine } from '#kube/api/fleet.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { isHostKey } from '#kube/machinery/fleet.ts';
import {
  field,
  invalid as invalidField,
  notSupported,
  required,
  type FieldError,
} from '#kube/machinery/field.ts';
import { isDns1123Subdomain } from '#kube/machinery/names.ts';
import { badRequest, invalid, serviceUnavailable, StatusError } from '#kube/machinery/status.ts';
import type { ApiResponse } from '../http.ts';
import { readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

/** Throws a StatusError where the request itself is wrong; what comes of it is its answer. */
export type EnrolMachine = (
  machine: Machine,
  spec: EnrolmentSpec,
  signal: AbortSignal,
) => Promise<EnrolmentStatus>;

const kind: BodyKind = {
  group: 'flotilla.dev',
  version: 'v1alpha1',
  kind: 'Enrolment',
  schema: 'flotilla/v1alpha1.Enrolment',
};
const phases = ['Inspect', 'Apply'] as const;
/** Of a person's key; the largest are some 13 KB. */
const mostCharacters = 65_536;

export async function handleEnrolment(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, deps, resource, request } = scope;
  const { name } = info;
  const { dryRun, validation } = parseWriteParameters(request.query, 'CreateOptions');
  const body = (await readQuietly(scope, validation)) as unknown as Enrolment;
  if ((body.metadata.name ?? '') !== '' && body.metadata.name !== name)
    throw badRequest(`name in URL (${name}) does not match name in enrolment`);
  const errors = validate(body.spec);
  if (body.spec === undefined || errors.length > 0) throw invalid(kind, name, errors);
  const { object: machine } = await resource.get('', name);
  const attributes = attributesOf(scope, {
    operation: 'CREATE',
    name,
    object: withoutSecrets(name, body.spec),
    dryRun,
  });
  await deps.admission.admit(attributes);
  await deps.admission.validate(attributes);
  if (deps.enrol === undefined) throw serviceUnavailable('machines are not added here');
  const spec: EnrolmentSpec = dryRun ? { ...body.spec, phase: 'Inspect' } : body.spec;
  const status = await deps.enrol(machine as Machine, spec, request.signal);
  const answer: Enrolment = {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Enrolment',
    metadata: { name },
    status,
  };
  return respondValue(scope, answer, 201);
}

/** What can't be read is not quoted: errors are logged. */
async function readQuietly(
  scope: RequestScope,
  validation: Parameters<typeof readObject>[2],
): Promise<KubeObject> {
  try {
    return await readObject(scope, kind, validation);
  } catch (error) {
    if (error instanceof StatusError && error.message.includes('unrecognized'))
      throw badRequest('the body is neither JSON nor YAML of an Enrolment');
    throw error;
  }
}

function validate(spec: EnrolmentSpec | undefined): FieldError[] {
  const path = field('spec');
  if (spec === undefined) return [required(path, '')];
  const { phase, user, hostKey, nodeName } = spec;
  const errors: FieldError[] = [];
  if (!phases.includes(phase)) errors.push(notSupported(path.child('phase'), phase, phases));
  if (user === '' || /[^\P{Cc}]/u.test(user))
    errors.push(
      invalidField(path.child('user'), user, 'must be the name of a user of the machine'),
    );
  if (hostKey !== undefined && !isHostKey(hostKey))
    errors.push(
      invalidField(path.child('hostKey'), hostKey, 'must be a fingerprint, such as SHA256:…'),
    );
  for (const message of nodeName === undefined ? [] : isDns1123Subdomain(nodeName))
    errors.push(invalidField(path.child('nodeName'), nodeName, message));
  for (const name of ['password', 'privateKey', 'passphrase', 'sudoPassword'] as const)
    if ((spec[name] ?? '').length > mostCharacters)
      errors.push(
        invalidField(path.child(name), '', `must have at most ${mostCharacters} characters`),
      );
  for (const name of ['password', 'sudoPassword'] as const)
    if (/[\r\n\0]/.test(spec[name] ?? ''))
      errors.push(invalidField(path.child(name), '', 'must be one line'));
  return errors;
}

/** For those who may refuse it. What they change in it counts for nothing. */
function withoutSecrets(name: string, spec: EnrolmentSpec): KubeObject {
  const { phase, user, hostKey, nodeName, replaceNode, useAgent, acceptWarnings } = spec;
  const shown = { phase, user, hostKey, nodeName, replaceNode, useAgent, acceptWarnings };
  return {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Enrolment',
    metadata: { name },
    spec: Object.fromEntries(Object.entries(shown).filter(([, value]) => value !== undefined)),
  } as unknown as KubeObject;
}
