/** Events for programs: one JSON object a line. Field names and values are part of the public interface. */
import { printable } from '../escape.js';
import type { Event, Outcome } from '../events.js';
import { errorFields, toJson } from './sentences.js';

/** An event as its line, line end included; '' for those that only move a display. `time` in milliseconds since 1970. */
export function ndjson(event: Event, time: number): string {
  if (event.type === 'progress') return '';
  return `${toJson({ time: new Date(time).toISOString(), ...fields(event) })}\n`;
}

/** An event for programs: errors as their fields, words of the server escaped. */
function fields(event: Event): object {
  switch (event.type) {
    case 'failed':
      return { ...event, error: errorFields(event.error) };
    case 'account-end':
      return { ...event, outcome: outcomeFields(event.outcome) };
    case 'run-end':
      return { ...event, outcomes: event.outcomes.map(outcomeFields) };
    case 'delivered':
    case 'skipped':
    case 'would':
      return { ...event, uid: printable(event.uid) };
    case 'warning': {
      const { serverText } = event;
      return serverText === undefined ? event : { ...event, serverText: printable(serverText) };
    }
    case 'run-start':
    case 'account-start':
    case 'phase':
    case 'planned':
    case 'progress':
    case 'removed':
      return event;
    default:
      return event satisfies never;
  }
}

function outcomeFields(outcome: Outcome): object {
  return { ...outcome, errors: outcome.errors.map(errorFields) };
}
