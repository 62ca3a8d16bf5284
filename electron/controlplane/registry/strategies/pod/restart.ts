// When a container is started again by its own word: its policy, and rules by exit code.
// Source: kubernetes pkg/apis/core/validation/validation.go validateContainerRestartPolicy.
import type { Container, ContainerRestartRule } from '#kube/api/core.ts';
import {
  notSupported,
  required,
  tooMany,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';

const policies = ['Always', 'Never', 'OnFailure'];
const operators = ['In', 'NotIn'];
const rulesMax = 20;
const exitCodesMax = 255;

export function validateRestart(container: Container, path: FieldPath): FieldError[] {
  const { restartPolicy, restartPolicyRules: rules = [] } = container;
  const errors: FieldError[] = [];
  const at = path.child('restartPolicy');
  if (restartPolicy !== undefined && !policies.includes(restartPolicy))
    errors.push(notSupported(at, restartPolicy, policies));
  if (restartPolicy === undefined && rules.length > 0)
    errors.push(required(at, 'must specify restartPolicy when restart rules are used'));
  const list = path.child('restartPolicyRules');
  if (rules.length > rulesMax) errors.push(tooMany(list, rules.length, rulesMax));
  return [...errors, ...rules.flatMap((rule, index) => validateRule(rule, list.index(index)))];
}

function validateRule(rule: Partial<ContainerRestartRule>, path: FieldPath): FieldError[] {
  const { action = '', exitCodes } = rule;
  const errors: FieldError[] = [];
  if (action !== 'Restart') errors.push(notSupported(path.child('action'), action, ['Restart']));
  const at = path.child('exitCodes');
  if (exitCodes === undefined) return [...errors, required(at, 'must be specified')];
  const { operator = '', values = [] } = exitCodes as Partial<typeof exitCodes>;
  if (!operators.includes(operator))
    errors.push(notSupported(at.child('operator'), operator, operators));
  if (values.length > exitCodesMax)
    errors.push(tooMany(at.child('values'), values.length, exitCodesMax));
  return errors;
}
