// Apps' data on its way to another machine. Our own kind: no source.
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  required,
  tooMany,
  type FieldError,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isDns1123Subdomain } from '#kube/machinery/names.ts';
import { moveFinalizer } from '#kube/machinery/volume-move.ts';
import type { Strategy } from '../../resource.ts';
import { check } from '../text-rules.ts';

const claimsMax = 32;
const daysMax = 3_650;

/** Of somebody who left out what is needed. */
function given({
  claims = [],
  nodeName = '',
  keepOldCopyDays: days = 0,
}: Partial<VolumeMove['spec']>) {
  return { claims, nodeName, days };
}

export const volumeMoveStrategy: Strategy<VolumeMove> = {
  validateName: dns1123SubdomainName,
  // What is held and half copied is put in order first.
  deletionFinalizers: [moveFinalizer],
  validate({ spec }) {
    const path = field('spec');
    const { claims, nodeName, days } = given(spec);
    const errors: FieldError[] = [];
    if (claims.length === 0)
      errors.push(required(path.child('claims'), 'name the claims whose data is to move'));
    if (claims.length > claimsMax) return [tooMany(path.child('claims'), claims.length, claimsMax)];
    for (const [index, claim] of claims.entries())
      errors.push(...check(path.child('claims').index(index), claim, isDns1123Subdomain(claim)));
    if (nodeName === '') errors.push(required(path.child('nodeName'), 'name the machine'));
    else errors.push(...check(path.child('nodeName'), nodeName, isDns1123Subdomain(nodeName)));
    if (days < 0 || days > daysMax)
      errors.push(invalid(path.child('keepOldCopyDays'), days, `must be 0 to ${daysMax}`));
    return errors;
  },
  validateUpdate({ spec }, { spec: old }) {
    const path = field('spec');
    const fixed = ({ claims, nodeName }: VolumeMove['spec']) => ({ claims, nodeName });
    const errors: FieldError[] = [];
    if (!deepEqual(fixed(spec), fixed(old)))
      errors.push(forbidden(path, 'claims and nodeName may not change: make another VolumeMove'));
    if (old.goBack === true && spec.goBack !== true)
      errors.push(forbidden(path.child('goBack'), 'it is on its way back'));
    if (old.removeOldCopy === true && spec.removeOldCopy !== true)
      errors.push(forbidden(path.child('removeOldCopy'), 'it is being removed'));
    return errors;
  },
};
