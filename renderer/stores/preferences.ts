// What this person likes, kept in this browser only. Never holds anything of the cluster.
import { defineStore } from 'pinia';
import { ref } from 'vue';

export type Theme = 'system' | 'light' | 'dark';
const storageKey = 'flotilla.theme';
const userKey = 'flotilla.login-user';

export const usePreferences = defineStore('preferences', () => {
  const theme = ref<Theme>(storedTheme());

  function applyTheme(): void {
    if (theme.value === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme.value;
  }

  function setTheme(next: Theme): void {
    theme.value = next;
    localStorage.setItem(storageKey, next);
    applyTheme();
  }

  /** Who logged in to a machine last; '' if nobody did. */
  const loginUser = ref(localStorage.getItem(userKey) ?? '');

  function setLoginUser(user: string): void {
    loginUser.value = user;
    localStorage.setItem(userKey, user);
  }

  return { theme, applyTheme, setTheme, loginUser, setLoginUser };
});

function storedTheme(): Theme {
  const stored = localStorage.getItem(storageKey);
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}
