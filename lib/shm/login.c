/* Checks of the login messages: see shm/login.h. */
#include "lib/shm/login.h"

int shm_login_question_check(const struct shm_login_question *question, struct shm_error *error)
{
    if (question->login == 0 || question->step < SHM_LOGIN_PASSWORD || question->step > SHM_LOGIN_CONTINUE)
        return shm_error_set(error, "login %llu: step %u", (unsigned long long)question->login, question->step);
    if (question->name_length > SHM_LOGIN_NAME_MAX || question->data_length > SHM_LOGIN_DATA_MAX)
        return shm_error_set(error, "login: lengths %u and %u", question->name_length, question->data_length);
    if (question->step == SHM_LOGIN_CONTINUE && question->name_length > 0)
        return shm_error_set(error, "login: a name of %u bytes in the middle", question->name_length);
    return 0;
}

int shm_login_verdict_check(const struct shm_login_verdict *verdict, struct shm_error *error)
{
    if (verdict->login == 0 || verdict->result < SHM_LOGIN_ACCEPTED || verdict->result > SHM_LOGIN_UNAVAILABLE)
        return shm_error_set(error, "login %llu: result %u", (unsigned long long)verdict->login, verdict->result);
    if (verdict->user_length > SHM_LOGIN_NAME_MAX || verdict->data_length > SHM_LOGIN_DATA_MAX)
        return shm_error_set(error, "login: lengths %u and %u", verdict->user_length, verdict->data_length);
    return 0;
}
